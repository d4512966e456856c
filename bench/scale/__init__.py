"""How far one database carries: measured on this machine, and modelled beyond it."""
