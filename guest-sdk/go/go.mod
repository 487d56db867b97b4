module grid.example/guest

go 1.24
