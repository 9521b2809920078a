"""Full screens: the table of VMs, help, and the page of one VM."""
