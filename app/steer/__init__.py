"""Steering: the controls, and the weights by layer as pictures, tables and sentences."""
