"""What a waiting gate costs, against what people use for it today: ``make bench``."""
