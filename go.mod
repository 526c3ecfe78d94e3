module github.com/godwit-ota/godwit

go 1.26.0

require golang.org/x/sys v0.49.0 // indirect
