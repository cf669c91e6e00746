"""First-order methods: FOMAML, Reptile and the libraries' first-order modes."""
