"""What runs on the hosts: small, and never imports the coordinator."""
