// The reader of docs/readers.md: a Redis URL, a tenant and a user in, items out, one a line.
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.msgpack.jackson.dataformat.MessagePackFactory;
import redis.clients.jedis.Jedis;

public class Reader {
    // docs/readers.md

    public static void main(String[] args) throws IOException {
        URI url = URI.create(args[0]);
        System.out.println(String.join("\n", items(new Jedis(url.getHost(), url.getPort()), args[1], args[2])));
    }
}
