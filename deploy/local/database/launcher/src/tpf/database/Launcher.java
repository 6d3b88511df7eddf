package tpf.database;

import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import java.io.IOException;
import java.net.BindException;
import java.net.InetSocketAddress;
import java.util.List;
import org.h2.mvstore.DataUtils;
import org.h2.mvstore.MVStore;
import org.h2.mvstore.MVStoreException;

/**
 * Serves mongo-java-server, where no real MongoDB can be had.
 *
 * <pre>
 *   --address ADDRESS    where it listens; loopback unless that is given, for it knows no authentication
 *   --port N             0 takes a free one (default)
 *   --file PATH          keeps the data there; without it everything is in memory
 *   --exit-with-stdin    ends when standard input closes, so that nothing outlives whoever started it
 * </pre>
 *
 * Prints {@code listening PORT} when it serves. Ends on SIGTERM after the command under way.
 */
public final class Launcher {
    /** The official drivers of today refuse servers below wire version 9, which MongoDB 4.4 spoke. */
    private static final MongoVersion VERSION = new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(4, 4, 0);
        }

        @Override
        public int getWireVersion() {
            return 9;
        }
    };

    private String address = "127.0.0.1";
    private int port = 0;
    private String file = null;
    private boolean exitsWithStdin = false;

    public static void main(String[] arguments) {
        try {
            new Launcher(arguments).serve();
        } catch (IllegalArgumentException wrong) {
            fail(2, wrong.getMessage());
        } catch (Exception failure) {
            fail(1, failure.getMessage());
        }
    }

    private Launcher(String[] arguments) {
        for (int i = 0; i < arguments.length; i++) {
            switch (arguments[i]) {
                case "--address" -> address = valueAt(arguments, ++i);
                case "--port" -> port = parsePort(valueAt(arguments, ++i));
                case "--file" -> file = valueAt(arguments, ++i);
                case "--exit-with-stdin" -> exitsWithStdin = true;
                default -> throw new IllegalArgumentException("unknown argument " + arguments[i]);
            }
        }
    }

    private void serve() throws BindException {
        MVStore store = open();
        MongoBackend backend = new IndexedBackend(store);
        SafeBackend safe = new SafeBackend(backend, store);
        safe.version(VERSION);
        MongoServer server = new MongoServer(safe);
        bind(server);
        Runtime.getRuntime().addShutdownHook(new Thread(safe::close));
        if (exitsWithStdin) exitWhenStdinCloses();
        System.out.println("mongo-java-server stands in for MongoDB: one node, no fail-over, no authentication");
        System.out.println("listening " + server.getLocalAddress().getPort());
    }

    private void bind(MongoServer server) throws BindException {
        try {
            server.bind(new InetSocketAddress(address, port), 1, 4);
        } catch (Exception failure) {
            // Netty throws it past the compiler, which knows of no checked exception here.
            if (!(failure instanceof BindException)) throw failure;
            throw new BindException("port " + port + " is busy: another program listens on it");
        }
    }

    private MVStore open() {
        MVStore store;
        // A commit by a timer or by memory pressure could fall between the index and the document of one command.
        try {
            store = new MVStore.Builder()
                    .fileName(file)
                    .autoCommitDisabled()
                    .autoCommitBufferSize(0)
                    .open();
        } catch (MVStoreException failure) {
            if (failure.getErrorCode() != DataUtils.ERROR_FILE_LOCKED) throw failure;
            throw new IllegalStateException(file + " is in use by another process");
        }
        // Space of replaced chunks is used again after one second; with the default of 45 the file only grows.
        store.setRetentionTime(1000);
        return store;
    }

    private static void exitWhenStdinCloses() {
        Thread watcher = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // Nothing is said on this pipe; only its end matters.
                }
            } catch (IOException closed) {
                // The same end.
            }
            System.exit(0);
        });
        watcher.setDaemon(true);
        watcher.start();
    }

    private static String valueAt(String[] arguments, int index) {
        if (index >= arguments.length) {
            throw new IllegalArgumentException(arguments[index - 1] + " needs a value");
        }
        return arguments[index];
    }

    private static int parsePort(String text) {
        int value = text.matches("[0-9]{1,5}") ? Integer.parseInt(text) : -1;
        if (value < 0 || value > 65535) throw new IllegalArgumentException("not a port: " + text);
        return value;
    }

    private static void fail(int exitCode, String message) {
        System.err.println(message);
        // The server's threads would keep the process alive.
        Runtime.getRuntime().halt(exitCode);
    }
}
