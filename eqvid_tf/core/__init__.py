"""The equation g(T^z f(x) + h(x)) = x': motions, the sampler, the networks, the losses and the model."""
