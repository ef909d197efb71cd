"""What runs on the hosts: small, and never imports the coordinator."""

# Other distributions install a package of this name too; this line tells ours apart.
DISTRIBUTION = "volley-load"
