//! A registry on loopback and a base image made on the spot.
