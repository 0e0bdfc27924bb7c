"""The two-stream model: towers, fusion and heads, and the device they run on."""
