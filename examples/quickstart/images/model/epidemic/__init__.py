"""A small stochastic epidemic: susceptible, exposed, infectious, recovered."""
