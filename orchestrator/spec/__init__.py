"""What the user wrote: YAML in, checked models out."""
