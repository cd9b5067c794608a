"""The limits all workers keep together: quota, slots, breakers. The store's scripts decide."""
