"""One script for each recorded figure, their results, and the tables of the documentation that are made of them."""
