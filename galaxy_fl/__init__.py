"""Galaxy's federated-learning core: from a model and a data set to a better model, without a chain."""
