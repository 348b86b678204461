"""Migrations of the tables of shared documents. May import Django only; Django imports them."""
