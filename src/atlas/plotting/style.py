"""The colours and marks by which classes are told apart in every picture of codes."""

# Paul Tol's muted scheme, made to be told apart by colour-blind readers, and black for the tenth class. Ten are many:
# classes whose colours are near for some readers differ in their marks.
COLOURS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499", "#222222")
MARKS = ("o", "^", "s", "D", "s", "^", "o", "^", "D", "s")
