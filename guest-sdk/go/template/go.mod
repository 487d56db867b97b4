module grid.example/workers/{{name}}

go 1.24

require grid.example/guest v0.0.0

replace grid.example/guest => ./sdk
