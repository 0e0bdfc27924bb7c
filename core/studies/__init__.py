"""Many runs: studies (arms over seeds) and chains (stages that build on each other)."""
