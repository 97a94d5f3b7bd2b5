module github.com/keytoll/keytoll/stores/redisstore

go 1.26
