"""Mathematics the mechanisms share: pure functions of tensors, the definition first."""
