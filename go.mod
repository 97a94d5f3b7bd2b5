module github.com/keytoll/keytoll

go 1.26
