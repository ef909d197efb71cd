"""Programs that send requests, and the contract that all of them follow."""
