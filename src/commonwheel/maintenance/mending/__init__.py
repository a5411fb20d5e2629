"""What a repair is made of; :mod:`commonwheel.maintenance.repair` is its story."""
