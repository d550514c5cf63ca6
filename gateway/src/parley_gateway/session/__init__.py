"""One live conversation: tasks and queues around the pure turn taker."""
