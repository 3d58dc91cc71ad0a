"""Many runs, paired by seed, and what they allow one to say."""
