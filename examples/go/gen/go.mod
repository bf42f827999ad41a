module github.com/verbex/verbex-gateway/gen/go

go 1.25.0
