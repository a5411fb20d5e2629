"""What the product has to endure, and figures of it: ``python -m endurance``."""
