module github.com/keytoll/keytoll/internal/tools

go 1.26
