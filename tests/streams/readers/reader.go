// The reader of docs/readers.md: a Redis URL, a tenant and a user in, items out, one a line.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/gomodule/redigo/redis"
	"github.com/vmihailenco/msgpack/v5"
)

// docs/readers.md

func main() {
	db, err := redis.DialURL(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	items, err := Items(db, os.Args[2], os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.Join(items, "\n"))
}
