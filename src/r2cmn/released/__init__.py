"""Files of the released R2GenCMN code: reading, converting in both directions, and its initialization."""
