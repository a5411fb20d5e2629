"""What an export is made of; :mod:`commonwheel.maintenance.export` tells the story."""
