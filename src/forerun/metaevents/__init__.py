"""Rules over what the platform knows of itself: criteria, windows, absences, and what of them holds. Pure."""
