"""Speed, as ratios of times measured side by side: seconds depend on the machine."""
