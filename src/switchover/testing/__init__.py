"""What authors of backends and of stages test with: contract suites, a clock that stands still, and faulty fakes."""
