"""Methods without second derivatives: FOMAML, Reptile, pre-training and the libraries' first-order modes."""
