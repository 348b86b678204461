"""What users write against: topics, their events and their actions."""
