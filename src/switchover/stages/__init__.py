"""The stages that we ship: steps, what makes a service of them, and the catalogue that reads them from a plan."""
