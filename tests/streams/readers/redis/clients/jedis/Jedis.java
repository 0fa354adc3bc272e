package redis.clients.jedis;

import java.io.DataInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/**
 * In place of Jedis, which no registry that we reach has: its two methods that the reader calls, with
 * its signatures, on Redis's real protocol.
 */
public class Jedis {
    private final Socket socket;
    private final DataInputStream answers;

    public Jedis(String host, int port) {
        try {
            socket = new Socket(host, port);
            answers = new DataInputStream(socket.getInputStream());
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    public String get(String key) {
        byte[] found = get(key.getBytes(StandardCharsets.UTF_8));
        return found == null ? null : new String(found, StandardCharsets.UTF_8);
    }

    public byte[] get(byte[] key) {
        try {
            byte[] head = ("*2\r\n$3\r\nGET\r\n$" + key.length + "\r\n").getBytes(StandardCharsets.UTF_8);
            socket.getOutputStream().write(head);
            socket.getOutputStream().write(key);
            socket.getOutputStream().write("\r\n".getBytes(StandardCharsets.UTF_8));
            @SuppressWarnings("deprecation")
            String line = answers.readLine();
            if (line == null || line.charAt(0) != '$') throw new IllegalStateException("Redis said " + line);
            int length = Integer.parseInt(line.substring(1));
            if (length < 0) return null;
            byte[] found = new byte[length];
            answers.readFully(found);
            answers.readFully(new byte[2]);
            return found;
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
