"""All I/O with the outside: libvirt, /proc and /sys, and the simulated host. Everything here ends in a `Sample`."""
