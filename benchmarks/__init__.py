"""Speed, always as a ratio: to a named peer, or to a limit measured in the same run."""
