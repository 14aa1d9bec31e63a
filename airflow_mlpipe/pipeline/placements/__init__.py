"""How the code and the data of an attempt come to where it runs, and what it leaves comes back."""
