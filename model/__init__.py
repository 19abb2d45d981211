"""Training, the integer network, its golden executor and its accounting.

Importing this package is cheap: PyTorch is loaded only by the modules that train or execute.
"""
