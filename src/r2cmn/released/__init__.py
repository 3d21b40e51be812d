"""What the released R2GenCMN code keeps in its files, in its naming and in ours."""
