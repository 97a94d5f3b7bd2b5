module github.com/keytoll/keytoll/stores/pgstore

go 1.26
