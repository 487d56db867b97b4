module grid.example/workers/conformance-go

go 1.24

require grid.example/guest v0.0.0

replace grid.example/guest => ../../../guest-sdk/go
