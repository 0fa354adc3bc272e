"""One file per command of `springtide`; heavy imports wait until the command runs."""
