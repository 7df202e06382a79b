"""What users would pick instead, each as plain code of its own."""
