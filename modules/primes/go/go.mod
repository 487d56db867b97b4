module grid.example/workers/primes-go

go 1.24

require grid.example/guest v0.0.0

replace grid.example/guest => ../../../guest-sdk/go
