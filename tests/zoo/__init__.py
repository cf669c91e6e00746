"""Networks, losses and ways in which they change: does an implementation ever answer for how the network was?"""
