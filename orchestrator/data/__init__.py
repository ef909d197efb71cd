"""The Python API for stored runs: tables as pandas frames, exact histograms, figures. It needs no Ray, Docker or h2load."""
